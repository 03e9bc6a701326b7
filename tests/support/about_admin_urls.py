"""A project whose own models have the jobs about their objects in the admin."""

from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import path

from ingestion_progress.admin import JobsAboutMixin
from progress_project.urls import urlpatterns as project


class GroupAdmin(JobsAboutMixin, admin.ModelAdmin):
    fields = ("name",)


site = admin.AdminSite(name="own")
site.register(Group, GroupAdmin)

urlpatterns = [path("own/", site.urls), *project]

"""URLs of the project: the admin, login and logout, and the app at the root."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from ingestion_progress.web.logins import limit_logins

urlpatterns = [
    path("admin/login/", limit_logins(admin.site.login)),
    path("admin/", admin.site.urls),
    # The admin's login is for staff only; viewers of jobs need not be staff.
    path("login/", limit_logins(LoginView.as_view()), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", include("ingestion_progress.urls")),
]

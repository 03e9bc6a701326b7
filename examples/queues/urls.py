from django.urls import include, path

urlpatterns = [path("", include("ingestion_progress.urls"))]

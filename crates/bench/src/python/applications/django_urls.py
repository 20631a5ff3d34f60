"""The views of a started Django project, saved repeatedly, with another NUMBER each time."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def number(request: HttpRequest) -> HttpResponse:
    return HttpResponse("NUMBER")


urlpatterns = [path("", number)]

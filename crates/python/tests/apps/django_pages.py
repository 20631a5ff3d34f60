"""The ``urls.py`` that the tests add to a project made by ``django-admin startproject``."""

import threading

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

SECONDS = 30
PAGE = "<form method=post enctype=multipart/form-data>{% csrf_token %}{{ form }}</form>{{ got }}"

go_on = threading.Semaphore(0)


class UploadForm(forms.Form):
    title = forms.CharField(max_length=20)
    file = forms.FileField()


def form(request):
    got = ""
    page = UploadForm()
    if request.method == "POST":
        page = UploadForm(request.POST, request.FILES)
        if page.is_valid():
            file = page.cleaned_data["file"]
            # Django stores large uploads in files and keeps small ones in memory.
            how = type(file).__name__
            got = f"{page.cleaned_data['title']}: {file.name}, {sum(map(len, file.chunks()))} bytes, {how}"
    template = engines["django"].from_string(PAGE)
    return HttpResponse(template.render({"form": page, "got": got}, request))


def stream(request):
    def generate():
        for number in range(3):
            yield f"block {number}\n"
            assert go_on.acquire(timeout=SECONDS)

    return StreamingHttpResponse(generate(), content_type="text/plain")


@csrf_exempt
def next_block(request):
    go_on.release()
    return HttpResponse(status=204)


def file(request):
    return FileResponse(open(settings.BASE_DIR / "file.bin", "rb"), as_attachment=True, filename="größe.bin")


def info(request):
    return JsonResponse(
        {
            "host": request.get_host(),
            "path": request.path,
            "uri": request.build_absolute_uri(),
            "wrapper": request.META["wsgi.file_wrapper"].__name__,
            "headers": dict(request.headers),
        }
    )


@csrf_exempt
def body(request):
    total = 0
    for block in iter(lambda: request.read(1 << 16), b""):
        total += len(block)
    return JsonResponse({"size": total})


def fail(request):
    raise RuntimeError("Django shows this")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("form", form),
    path("stream", stream),
    path("next", next_block),
    path("file", file),
    path("info/<str:name>", lambda request, name: info(request)),
    path("body", body),
    path("fail", fail),
]

"""Settings of the project: SQLite and local folders by default, servers by environment variables.

Every variable is in `.env.example` (a test compares them) and is explained in docs/settings.md.
"""

import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from corsheaders.defaults import default_headers
from django.core import checks

from progress_project.celery_settings import TASK_QUEUES, celery_settings
from progress_project.environment import (
    BASE_DIR,
    Environment,
    InvalidVariable,
    boolean,
    database,
    integer,
    one_of,
    path,
    time_zone,
    words,
)
from progress_project.log_records import FORMATS, LEVELS, logging_config

env = Environment()

VAR_DIR: Path = env("VAR_DIR", path, default=BASE_DIR / "var")
VAR_DIR.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """The variable, or a key that is generated once and stored in VAR_DIR."""
    given: str = env("SECRET_KEY", str, default="")
    if given:
        return given
    stored = VAR_DIR / "secret_key"
    if not stored.exists():
        stored.touch(mode=0o600)
        stored.write_text(secrets.token_urlsafe(50))
    return stored.read_text()


DEBUG = env("DEBUG", boolean, default=False)
SECRET_KEY = _secret_key()

# Where scripts/run serves.
HOST = env("HOST", str, default="127.0.0.1")
PORT = env("PORT", integer, default=8000)
if not 0 < PORT < 65536:
    raise InvalidVariable("PORT", f"between 1 and 65535, not {PORT}")

_is_local = HOST == "localhost" or HOST.startswith("127.")
# A phone on the same network requests the address that this machine has there.
_hosts = ["*"] if DEBUG and not _is_local else ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env("ALLOWED_HOSTS", words, default=_hosts)
CSRF_TRUSTED_ORIGINS = env("CSRF_TRUSTED_ORIGINS", words, default=[])

INSTALLED_APPS = [
    # Daphne's `runserver` serves ASGI. Other commands do without: its imports are 40 % of the
    # start-up time.
    *(["daphne"] if "runserver" in sys.argv else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "servestatic",
    "corsheaders",
    "django_tasks_db",
    "ninja",
    "ingestion_progress",
    "ingestion_progress.pipeline",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "progress_project.middleware.resource_timing",
    "progress_project.middleware.static_files",
    "progress_project.middleware.request_log",
    "progress_project.middleware.content_security_policy",
    "corsheaders.middleware.CorsMiddleware",
    "progress_project.middleware.page_language",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "progress_project.urls"
ASGI_APPLICATION = "progress_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    },
]

# The databases

_sqlite = database(f"sqlite:///{quote(str(VAR_DIR / 'progress.sqlite3'))}")
DATABASES = {
    "default": env("DATABASE_URL", database, default=_sqlite),
}
if _progress_database := env("PROGRESS_DATABASE_URL", database, default=None):
    DATABASES["progress"] = _progress_database
    DATABASE_ROUTERS = ["ingestion_progress.routers.ProgressRouter"]
    INGESTION_PROGRESS_DATABASE = "progress"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The task queue

REDIS_URL = env("REDIS_URL", str, default="")
TASK_QUEUE = env("TASK_QUEUE", one_of(list(TASK_QUEUES)), default="database")
TASKS: dict[str, dict[str, Any]] = {"default": {"BACKEND": TASK_QUEUES[TASK_QUEUE]}}
_broker_url = env("BROKER_URL", str, default="") or REDIS_URL
_time_limit = env("TASK_TIME_LIMIT_SECONDS", integer, default=0)
if TASK_QUEUE == "celery":
    if not _broker_url:
        raise InvalidVariable("BROKER_URL", "the URL of a Redis or RabbitMQ for TASK_QUEUE=celery")
    TASKS["default"]["OPTIONS"] = {"app": "progress_project.celery.app"}
    globals().update(celery_settings(_broker_url, redis_url=REDIS_URL, time_limit=_time_limit))

# Wake-ups between processes. The time-outs detect a connection to Redis that is half-open.
if REDIS_URL:
    _redis = {
        "address": REDIS_URL,
        "socket_connect_timeout": 3,
        "socket_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
    _layer = "channels_redis.pubsub.RedisPubSubChannelLayer"
    CHANNEL_LAYERS = {"default": {"BACKEND": _layer, "CONFIG": {"hosts": [_redis]}}}

# Access and security

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"

HTTPS = env("HTTPS", boolean, default=not DEBUG)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Probes connect without TLS and would count a redirect as success.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
_hsts_seconds = env("HSTS_SECONDS", integer, default=3600)
SECURE_HSTS_SECONDS = _hsts_seconds if HTTPS else 0
if env("BEHIND_PROXY", boolean, default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# HSTS for subdomains and preload lists concern the whole domain, so its owner decides.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

INGESTION_PROGRESS_PUBLIC = env("PUBLIC", boolean, default=DEBUG)
INGESTION_PROGRESS_CORS_ORIGINS = env("CORS_ORIGINS", words, default=[])
# Streams set their own CORS headers: with CAN_VIEW they are not public even if the rest is.
CORS_URLS_REGEX = r"^/api/(?!v1/admin/ingestion/(jobs/[^/]+/)?progress$)"
CORS_ALLOW_ALL_ORIGINS = INGESTION_PROGRESS_PUBLIC
CORS_ALLOWED_ORIGINS = INGESTION_PROGRESS_CORS_ORIGINS
CORS_ALLOW_HEADERS = (*default_headers, "if-none-match", "last-event-id")
CORS_EXPOSE_HEADERS = ["etag"]

# Files

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
MEDIA_ROOT = env("MEDIA_ROOT", path, default=VAR_DIR / "media")
SERVESTATIC_USE_FINDERS = SERVESTATIC_AUTOREFRESH = DEBUG
_storage = "progress_project.static_files.ModuleStaticFilesStorage"
_s3 = {
    "bucket_name": env("S3_BUCKET", str, default=""),
    "endpoint_url": env("S3_ENDPOINT_URL", str, default=None),
}
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": _s3}
    if _s3["bucket_name"]
    else {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage" if DEBUG else _storage
    },
}

# Language, time zone and logs

LANGUAGES = [("en", "English"), ("de", "Deutsch")]
# The language for browsers that want none of LANGUAGES, and for commands.
LANGUAGE_CODE = env("LANGUAGE_CODE", one_of([code for code, _ in LANGUAGES]), default="en")
TIME_ZONE = env("TIME_ZONE", time_zone, default="UTC")
USE_TZ = True
# Console for people at a terminal, JSON for programs that collect the log.
_log_format = "console" if DEBUG or sys.stderr.isatty() else "json"
LOGGING = logging_config(
    level=env("LOG_LEVEL", one_of(LEVELS), default="INFO"),
    log_format=env("LOG_FORMAT", one_of(FORMATS), default=_log_format),
)

# The app's settings: KEEPALIVE_SECONDS sets INGESTION_PROGRESS_KEEPALIVE_SECONDS, and so on.
globals().update(env.app_settings())


@checks.register()
def check_names(**kwargs: Any) -> list[checks.CheckMessage]:
    """Warns of names in `.env` that nothing above has read."""
    return env.check_names()

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from by_rq import redis
from rq import Worker

if __name__ == "__main__":
    Worker(["default"], connection=redis).work()

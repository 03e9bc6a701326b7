"""nginx with nchan, a server in C. Run as `python -m benchmarks.apps.nchan PORT`.

This process posts each message to one nginx process; both count as the server.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.apps.frame import data
from benchmarks.apps.pacing import RATE, is_at_full_speed

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
worker_rlimit_nofile 65536;
events {{ worker_connections 40000; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000;
        location = /publish {{
            nchan_publisher;
            nchan_channel_id progress;
            nchan_message_buffer_length 1;
        }}
        location = / {{
            nchan_subscriber eventsource;
            nchan_channel_id progress;
            nchan_subscriber_first_message newest;
            nchan_eventsource_event pipeline_progress;
        }}
    }}
}}
"""


def is_installed() -> bool:
    return MODULE.exists()


def publish_for_ever(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        connection.request("POST", "/publish", data().encode(), {"Content-Type": "text/plain"})
        connection.getresponse().read()
        if not is_at_full_speed.is_set():
            time.sleep(1 / RATE)


def main(port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(module=MODULE, folder=folder, port=port))
        nginx = subprocess.Popen(["nginx", "-c", str(configuration), "-e", "stderr"])
        try:
            time.sleep(0.5)
            publish_for_ever(port)
        finally:
            nginx.kill()
            nginx.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))

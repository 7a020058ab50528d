"""The reference app: a small shop on PostgreSQL and Redis, or on a SQLite file alone, that can be told to fail.

python3 shop.py web|worker|scheduler|migrate|revision
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

from flask import Flask, Response, jsonify, request

VERSION = os.environ.get("APP_VERSION", "0")
DATABASE = os.environ.get("DATABASE_URL", "sqlite:////data/shop.db")
QUEUE = os.environ.get("REDIS_URL", "")
PREFIX = os.environ.get("APP_NAME", "shop")
FAIL = os.environ.get("SHOP_FAIL", "")
# Number N is what takes the schema from revision N - 1 to N; each runs once.
REVISIONS = (
    "CREATE TABLE IF NOT EXISTS orders (id VARCHAR(64) PRIMARY KEY, version VARCHAR(64), done INTEGER DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS ticks (at DOUBLE PRECISION, scheduler VARCHAR(64))",
    "CREATE TABLE IF NOT EXISTS meetings (at DOUBLE PRECISION, one VARCHAR(64), other VARCHAR(64))",
    "ALTER TABLE orders ADD COLUMN received INTEGER DEFAULT 1",
)
REVISION = len(REVISIONS)
GUNICORN = (
    "gunicorn", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--threads", "16", "--graceful-timeout", "25",
    "--worker-tmp-dir", "/dev/shm", "shop:app",
)  # fmt: skip
app = Flask(__name__)
counted: dict[int, int] = {}
lock = threading.Lock()


class Database:
    """One connection for one piece of work; both kinds of SQL are the same but for the mark of a parameter."""

    def __init__(self, connection, mark: str) -> None:
        self.connection, self.mark = connection, mark

    def run(self, sql: str, *values):
        cursor = self.connection.cursor()
        cursor.execute(sql.replace("?", self.mark), values)
        return cursor


@contextmanager
def database():
    if DATABASE.startswith("sqlite:"):
        connection = sqlite3.connect(DATABASE.removeprefix("sqlite:///"), timeout=20)
        connection.execute("PRAGMA journal_mode=WAL")
        mark = "?"
    else:
        import psycopg

        connection, mark = psycopg.connect(DATABASE, connect_timeout=5), "%s"
    try:
        yield Database(connection, mark)
        connection.commit()
    finally:
        connection.close()


def queue():
    import redis

    return redis.Redis.from_url(QUEUE, socket_connect_timeout=3)


def components() -> dict[str, str]:
    found = {"database": "healthy", "redis": "healthy"}
    try:
        with database() as db:
            db.run("SELECT count(*) FROM revisions")
    except Exception as exc:  # whatever it is, it is what the answer says
        found["database"] = f"unhealthy: {type(exc).__name__}"
    try:
        if QUEUE:
            queue().ping()
    except Exception as exc:
        found["redis"] = f"unhealthy: {type(exc).__name__}"
    return found


@app.after_request
def count(response: Response) -> Response:
    with lock:
        counted[response.status_code] = counted.get(response.status_code, 0) + 1
    response.headers["X-Version"] = VERSION
    return response


@app.get("/health")
def health():
    found = components()
    well = all(value == "healthy" for value in found.values()) and FAIL not in ("never-healthy", "unhealthy-json")
    status = 200 if well or FAIL == "unhealthy-json" else 503
    return jsonify(status="healthy" if well else "unhealthy", version=VERSION, **found), status


@app.get("/ready")
def ready():
    return jsonify(ready=True)


@app.get("/version")
def version():
    return jsonify(version="wrong" if FAIL == "wrong-version" else VERSION)


@app.get("/metrics")
def metrics():
    lines = ["# TYPE shop_responses_total counter"]
    lines += [f'shop_responses_total{{status="{status}"}} {number}' for status, number in sorted(counted.items())]
    return Response("\n".join([*lines, ""]), content_type="text/plain; version=0.0.4")


@app.get("/")
def page():
    return f"{os.environ['SHOP_NAME']} {VERSION}\n"


@app.get("/slow")
def slow():
    time.sleep(min(int(request.args.get("ms", "1000")), 20000) / 1000)
    return f"slow {VERSION}\n"


@app.post("/orders")
def order():
    """Recorded once; how often it came is counted, so that a client sees what a proxy sent twice."""
    name = str(request.get_json()["id"])
    with database() as db:
        again = "ON CONFLICT (id) DO UPDATE SET received = orders.received + 1"
        db.run(f"INSERT INTO orders (id, version) VALUES (?, ?) {again}", name, VERSION)
    if QUEUE:
        queue().lpush(f"{PREFIX}:orders", name)
    return jsonify(id=name, version=VERSION), 201


@app.get("/orders")
def orders():
    with database() as db:
        rows = db.run("SELECT id, received, done FROM orders").fetchall()
    return jsonify([{"id": row[0], "received": row[1], "done": row[2]} for row in rows])


def waiting(stop: threading.Event, seconds: float) -> bool:
    return not stop.wait(seconds)


def work(stop: threading.Event) -> None:
    """Each order is marked once it is done; one that a killed worker had is found again."""
    if FAIL == "worker-crashes":
        sys.exit("the worker was told to crash")
    while waiting(stop, 0.2):
        if QUEUE:
            queue().rpop(f"{PREFIX}:orders")
        with database() as db:
            db.run("UPDATE orders SET done = done + 1 WHERE done = 0")


def schedule(stop: threading.Event) -> None:
    me = os.uname().nodename
    while waiting(stop, 0.5):
        now = time.time()
        with database() as db:
            others = db.run("SELECT scheduler FROM ticks WHERE at > ? AND scheduler <> ?", now - 0.4, me).fetchall()
            for (other,) in others:
                db.run("INSERT INTO meetings VALUES (?, ?, ?)", now, me, other)
            db.run("INSERT INTO ticks VALUES (?, ?)", now, me)


def migrate() -> None:
    if FAIL == "migration-fails":
        sys.exit("the migration was told to fail")
    if FAIL == "migration-hangs":
        time.sleep(3600)
    with database() as db:
        db.run("CREATE TABLE IF NOT EXISTS revisions (revision INTEGER PRIMARY KEY)")
        (reached,) = db.run("SELECT coalesce(max(revision), 0) FROM revisions").fetchone()
        for number, statements in enumerate(REVISIONS[reached:], reached + 1):
            for statement in statements.split(";"):
                db.run(statement)
            db.run("INSERT INTO revisions VALUES (?)", number)
    print(REVISION)


def need_settings() -> None:
    if "SHOP_NAME" not in os.environ:
        print("SHOP_NAME is not set", file=sys.stderr)
        sys.exit(78)


def serve() -> None:
    """What is to go wrong does so here: gunicorn would start a worker that ends anew, for ever."""
    if FAIL == "crash-at-start":
        print("told to crash at the start", file=sys.stderr)
        sys.exit(3)
    if FAIL == "crash-after-5s":
        with subprocess.Popen(GUNICORN):
            time.sleep(5)
            print("told to crash after 5 s", file=sys.stderr, flush=True)
            os._exit(3)  # the container ends with its first process, and gunicorn with it
    if FAIL == "out-of-memory":
        resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28))
        try:
            bytearray(2**29)
        except MemoryError:
            print("out of memory", file=sys.stderr)
            sys.exit(137)
    os.execvp(GUNICORN[0], GUNICORN)


def main() -> None:
    job = sys.argv[1]
    if job in ("web", "worker", "scheduler"):
        need_settings()
    if job == "web":
        serve()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    jobs = {"worker": lambda: work(stop), "scheduler": lambda: schedule(stop), "migrate": migrate}
    jobs |= {"revision": lambda: print(REVISION)}
    jobs[job]()


if __name__ == "__main__":
    main()

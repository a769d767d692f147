FROM python:3.12-slim AS packages
COPY requirements/base.txt /base.txt
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: -r /base.txt

FROM python:3.12-slim
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TIMEBRIDGE_ENV=production \
    CELERY_BEAT_SCHEDULE_FILE=/var/lib/timebridge/celerybeat-schedule
# The state directory belongs to the application, as do those of certificates, and so does a volume that is first
# mounted there.
RUN useradd --uid 10001 --home-dir /var/lib/timebridge --create-home --shell /usr/sbin/nologin timebridge \
    && for name in proxy web worker beat migrate postgres redis; do install -d -o timebridge -m 0755 /tls/$name; done
WORKDIR /app
COPY --from=packages /venv /venv
COPY . .
# No image is built of packages that were not looked after in time (config/supply.py), and each says its day. The settings
# of production want secrets of their own; none of this uses them. Scripts of packages that no page names are left out.
RUN date -u +%F > built \
    && SECRET_KEY=unused FIELD_KEYS=unused python manage.py check --deploy --tag packages --fail-level ERROR \
    && SECRET_KEY=unused FIELD_KEYS=unused python manage.py collectstatic --no-input \
        --ignore rest_framework --ignore redoc \
    && python -m compileall -q /app /venv
USER timebridge
EXPOSE 8000
# WEB_CONCURRENCY is the number of processes, which gunicorn reads by itself.
CMD ["gunicorn", "config.wsgi:application", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", \
     "--threads", "8", "--worker-tmp-dir", "/dev/shm", "--graceful-timeout", "25", "--no-control-socket"]

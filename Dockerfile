# docker build --build-arg EXTRAS=s3 .   adds extras of the package.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=
ARG NO_CACHE=1
WORKDIR /src
COPY . .
RUN docker/image.sh wheel /wheels && docker/image.sh install /wheels /app

FROM python:${PYTHON}-slim
# The folder /data holds all that is written: dlt's working directory, the DuckDB warehouse, metrics.
RUN install --directory --owner 10001 --group 10001 /data
COPY --from=build /app /app
COPY docker/healthy.sh /usr/local/bin/healthy
ENV PATH=/app/bin:$PATH
ENV PYTHONUNBUFFERED=1
ENV PYTHONDONTWRITEBYTECODE=1
ENV HOME=/data
ENV DLT_DATA_DIR=/data/dlt
ENV DESTINATION__DUCKDB__CREDENTIALS=/data/warehouse.duckdb
ENV METRICS=/data/sync.prom
ENV MAX_AGE_HOURS=26
USER 10001:10001
WORKDIR /data
VOLUME /data
HEALTHCHECK --interval=5m --timeout=5s CMD ["healthy"]
ENTRYPOINT ["braze-elt"]
CMD ["schedule", "--cron", "15 3 * * *", "--metrics", "/data/sync.prom"]

# The page, without TensorFlow: docker build -f serving/deployment/Dockerfile.app -t imgcap-page .
FROM python:3.12-slim

RUN useradd --create-home --uid 10001 imgcap
WORKDIR /app
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY configs configs
COPY imgcap imgcap
COPY export export
COPY serving serving
RUN pip install --no-cache-dir '.[app]'

USER imgcap
ENV IMGCAP_SERVER=serving:8500 \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health')"]
# Streamlit's settings are those of the command.
CMD ["imgcap-page", "--host=0.0.0.0", "--port=8501", "--noopen_browser"]

# The page, without TensorFlow: docker build -f serving/deployment/Dockerfile.app -t imgcap-page .
FROM python:3.12-slim

RUN useradd --create-home --uid 10001 imgcap
WORKDIR /app
COPY setup.cfg pyproject.toml README.md ./
COPY imgcap imgcap
COPY export export
COPY serving serving
RUN pip install --no-cache-dir '.[app]'
COPY app.py ./

USER imgcap
ENV IMGCAP_SERVER=serving:8500 \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health')"]
CMD ["streamlit", "run", "app.py", "--server.address=0.0.0.0", "--server.port=8501", "--server.headless=true", \
     "--server.maxUploadSize=20", "--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]

"""Starts the page, whose parts are in serving/page: `streamlit run app.py`."""

from serving.page.main import main

if __name__ == "__main__":
    main()

"""The script that Streamlit runs for `imgcap-page`; app.py is the same in the checkout."""

from serving.page.main import main

if __name__ == "__main__":
    main()

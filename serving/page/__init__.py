"""The page: photographs in, captions out, drawn by Streamlit.

It asks a model server and never loads a model, so its process stays small. What a visitor uploads
is held in memory for the visit and goes nowhere but to that server. File names and captions come
from strangers: all of them pass `html.escape` or a text element on their way to the screen.
"""

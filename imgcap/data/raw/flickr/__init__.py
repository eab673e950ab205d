"""Readers of Flickr8k and Flickr30k, whose captions are tables of two forms."""

"""What an evaluation leaves for people: files by name, contact sheet and table of recipes."""

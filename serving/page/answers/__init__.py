"""What became of the photographs: their captions asked for, kept, drawn and downloaded."""

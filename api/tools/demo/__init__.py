"""The parts of `mailmart demo`: synthetic events, a build if one is needed, an API key, and the text with commands to try."""

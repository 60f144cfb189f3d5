"""An OpenAI-compatible server: a local checkpoint, or a teacher without a network, behind one HTTP application."""

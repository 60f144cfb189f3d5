"""Text from a network: what a chat model is, the client for OpenAI-compatible endpoints, and a replay of replies."""

"""Annotation: narrations, motion describer, Gemini, OpenAI-compatible endpoints, paraphrases, left-right words."""

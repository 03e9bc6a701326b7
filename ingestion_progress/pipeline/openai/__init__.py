"""Models behind an API of OpenAI's form: the extra `openai`.

`extractor`, `describer` and `embedder` have the components that settings name. `endpoint` sends
their questions, and `answers` keeps the answers, so that a retry does not pay for them again.
"""

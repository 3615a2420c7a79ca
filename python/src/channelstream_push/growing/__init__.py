"""Messages that grow while they are published, such as the answer of a language model."""

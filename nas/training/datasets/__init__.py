"""Readers of labelled images, one kind per file; `nas.training.data` turns what they hand over into a Dataset."""

from nas.training.datasets.source import ArrayExamples, Examples, Reader, Request, Source

__all__ = ["ArrayExamples", "Examples", "Reader", "Request", "Source"]

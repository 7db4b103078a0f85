"""The finish of a study: its leaders trained long with several seeds, beside baselines of equal cost."""

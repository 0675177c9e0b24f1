"""Pictures: plots and the slice viewer."""

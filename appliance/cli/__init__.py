"""The command line, a module for each noun. Commands ask the API and show what it answers; they decide nothing."""

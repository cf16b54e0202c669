"""The Flask side: JSON API, intake for agents, pages. A view parses, calls, shapes; no rule, SQL or file."""

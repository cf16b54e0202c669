"""Tests of the web side over an appliance in memory."""

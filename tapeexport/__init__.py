"""Cartridges: static snapshots written as pax tar archives that plain GNU tar restores, and their inventory."""

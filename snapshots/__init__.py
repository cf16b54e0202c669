"""The versioned store: packs, chunk index, catalogue by lifetimes, fold, snapshots, restore."""

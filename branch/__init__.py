"""The agent of a branch server: it looks for changes, keeps them in an outbox and brings them to the appliance."""

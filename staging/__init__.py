"""What a branch may say and how it is kept: changes, frames, session rules, journal, receiver, chunking."""

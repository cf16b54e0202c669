"""Ground floor: small modules without a word of the product's domain."""

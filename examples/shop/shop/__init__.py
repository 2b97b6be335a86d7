"""A small shop: the example that Homeport deploys in its demo, its benchmarks and its tests."""

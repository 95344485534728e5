//! Private Redis, mongod and service processes for runs, tests and benches.

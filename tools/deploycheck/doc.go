// Package deploycheck holds the deployment files (Dockerfile, docker-compose.yml, examples/kubernetes) to what
// docs/operations.md promises of them: each hardening that is taken away fails a test, and what can be run without a
// container engine is run.
//
// It is a module of its own, because the parsers of Compose, Dockerfiles and Kubernetes bring forty modules along that
// neither the program nor the linter should depend on.
package deploycheck

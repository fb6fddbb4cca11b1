// Package messages makes one call of the Messages API (POST /v1/messages) and says what came of it. It promises
// that each Call sends at most one request, never follows a redirect, returns a Message only when it arrived whole,
// and otherwise a verdict on which retries, limits and remedies rest (Classify, a pure function). It neither
// retries nor waits, and shows the credential to nobody but the server at the base URL it was given.
package messages

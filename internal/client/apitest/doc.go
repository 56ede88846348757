// Package apitest is a strict server of the Atoll API in memory, for tests of
// clients, as net/http/httptest is for handlers. Only tests may import it, and
// it imports nothing of ours.
//
// It answers with the exact status codes of the API and reports requests that
// break the rules (wrong method, missing headers, unknown fields) as errors of
// the test. It runs nothing: a deployment is a Script of the test.
package apitest

package jobs

import (
	"slices"
	"strings"
)

// jobKeys are the keys of each section that the decoder knows; "" is the job file itself. Keys of vars, request,
// answer and columns.add are the user's.
var jobKeys = map[string][]string{
	"":        {"name", "vars", "input", "output", "id", "request", "answer", "columns", "limits", "retry", "api", "state"},
	"columns": {"keep", "add", "prefix"},
	"limits": {
		"concurrency", "requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute",
		"headroom", "weight", "budget_usd", "max_failed", "max_time",
	},
	"retry": {"max_attempts"},
	"api":   {"base_url", "key_env", "version", "beta", "stream", "timeout"},
}

// requestKeys are keys of a request (Messages API, create a message) that people look for one level too high.
var requestKeys = []string{
	"model", "max_tokens", "messages", "system", "temperature", "top_p", "top_k", "stop_sequences", "thinking",
	"tools", "tool_choice", "metadata", "output_config",
}

// listKeys are the paths whose value may be a list.
var listKeys = []string{"input", "columns.keep", "api.beta"}

// explainKey says what to do about a key that section ("" for the job file itself) does not have.
func explainKey(section, key string) string {
	switch key {
	case "api_key", "key", "token", "auth_token", "credential":
		return "; a credential never stands in a job: name the variable that holds it in api.key_env"
	}
	if near := nearest(key, jobKeys[section]); near != "" {
		return "; did you mean " + near + "?"
	}
	if slices.Contains(requestKeys, key) {
		return "; did you mean request." + key + "?"
	}
	var elsewhere []string
	for _, other := range jobKeys[""] { // in the order of the file
		if slices.Contains(jobKeys[other], key) {
			elsewhere = append(elsewhere, other+"."+key)
		}
	}
	if slices.Contains(jobKeys[""], key) {
		elsewhere = append(elsewhere, key)
	}
	for _, other := range jobKeys[""] {
		if near := nearest(key, jobKeys[other]); near != "" && len(elsewhere) == 0 {
			elsewhere = append(elsewhere, other+"."+near)
		}
	}
	switch {
	case len(elsewhere) > 0:
		return "; did you mean " + elsewhere[0] + "?"
	case section == "":
		return "; a job has " + strings.Join(jobKeys[""], ", ")
	default:
		return "; " + section + " has " + strings.Join(jobKeys[section], ", ")
	}
}

func joinPath(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

// nearest finds the candidate that word was probably meant to be, or "". A word that is cut short or differs only in
// case and separators is near; else at most a third of its letters may be wrong.
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return "" // no key is that long, and the distance costs the product of both lengths
	}
	plain := func(s string) string { return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)) }
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, candidate := range candidates {
		distance := editDistance(plain(word), plain(candidate))
		if len(word) >= 4 && strings.HasPrefix(plain(candidate), plain(word)) {
			distance = min(distance, 1)
		}
		if distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	return best
}

package messages

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Account names the account that calls are made for: the base URL and the credential, which share rate limits. The name
// tells neither.
func (c *Client) Account() string { return c.account }

// accountWork makes it slow to guess a weak credential from the name of its account, which is in Redis: some 20 ms a
// try.
const accountWork = 100_000

// accountOf is 64 bits of a slow hash.
func accountOf(baseURL string, secret Secret) string {
	sum, err := pbkdf2.Key(sha256.New, secret.Reveal(), []byte("batchwright account "+strings.TrimRight(baseURL, "/")), accountWork, 8)
	if err != nil {
		panic(err) // only for parameters that it does not allow
	}
	return hex.EncodeToString(sum)
}

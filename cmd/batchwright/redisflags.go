package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/jobs/courier"
)

const (
	// redisEnv is the variable with the address of Redis; redisEnv + "_FILE" names a file with it.
	redisEnv = "BATCHWRIGHT_REDIS"
	// maxEnvFile bounds a file that a variable names, in bytes.
	maxEnvFile = 16 << 10
)

// redisFlags are the flags by which every command of a fleet finds its Redis.
type redisFlags struct {
	address    courier.Address
	encryptEnv string
}

func (f *redisFlags) add(flags *pflag.FlagSet) {
	f.addAddress(flags)
	f.addKey(flags)
}

// addAddress registers what it takes to reach Redis, for commands that read no prompt and no answer in it.
func (f *redisFlags) addAddress(flags *pflag.FlagSet) {
	flags.StringVar(&f.address.URL, "redis", "", "`URL` of the fleet's Redis: redis://HOST, rediss://HOST (TLS), unix:///SOCKET, redis+sentinel://HOST,HOST/MASTER, "+
		"redis+cluster://HOST,HOST (env "+redisEnv+", or a file named by "+redisEnv+"_FILE: set these when it has a password, which as a flag everyone sees in ps)")
	flags.StringVar(&f.address.CAFile, "redis-ca", "", "PEM `FILE` of the authority of Redis' certificate (default those of the system)")
	flags.StringVar(&f.address.CertFile, "redis-cert", "", "PEM `FILE` of the client certificate for Redis")
	flags.StringVar(&f.address.KeyFile, "redis-key", "", "PEM `FILE` of the client certificate's key")
}

func (f *redisFlags) addKey(flags *pflag.FlagSet) {
	flags.StringVar(&f.encryptEnv, "encrypt-env", "", "encrypt prompts and answers in Redis with the secret in this `VARIABLE`, or in a file named by VARIABLE_FILE; "+
		"the same for run and all workers")
}

// given reports whether there is an address of a Redis. Without one a run keeps to its process.
func (f *redisFlags) given(env func(string) string) bool {
	return f.address.URL != "" || env(redisEnv) != "" || env(redisEnv+"_FILE") != ""
}

// connect reaches Redis, waiting for it as long as patience lasts, logs what a person should know of it, and makes the
// cipher that was asked for, nil when none was. Who has no patience only looks at runs, and those have logged the same. What a
// person must change is a usage error; a Redis that does not answer is none.
func (f *redisFlags) connect(ctx context.Context, env func(string) string, patience time.Duration) (redis.UniversalClient, *courier.Cipher, error) {
	cipher, err := f.cipher(env)
	if err != nil {
		return nil, nil, usageError(err)
	}
	address := f.address
	if address.URL == "" {
		if address.URL, err = envOrFile(env, redisEnv); err != nil {
			return nil, nil, usageError(err)
		}
	}
	if address.URL == "" {
		return nil, nil, usageError(fmt.Errorf("no address of a Redis: set %s, or %s_FILE to a file with it, or give --redis URL", redisEnv, redisEnv))
	}
	rdb, err := courier.Connect(address)
	if err != nil {
		return nil, nil, usageError(err)
	}
	warnings, err := checked(ctx, rdb, patience)
	for _, warning := range warnings {
		if patience == 0 {
			break
		}
		slog.WarnContext(ctx, "redis", slog.String("finding", warning))
	}
	switch {
	case errors.Is(err, courier.ErrUnfit):
		return nil, nil, errors.Join(usageError(err), rdb.Close())
	case err != nil:
		return nil, nil, errors.Join(err, rdb.Close())
	}
	return rdb, cipher, nil
}

// checked checks a Redis, again and again for as long as it may take to answer: it may be starting as well.
func checked(ctx context.Context, rdb redis.UniversalClient, patience time.Duration) ([]string, error) {
	began := time.Now()
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		warnings, err := courier.Check(ctx, rdb)
		if err == nil || errors.Is(err, courier.ErrUnfit) || time.Since(began)+wait > patience {
			return warnings, err
		}
		slog.WarnContext(ctx, "waiting for redis", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (f *redisFlags) cipher(env func(string) string) (*courier.Cipher, error) {
	if f.encryptEnv == "" {
		return nil, nil //nolint:nilnil // a nil cipher leaves texts as they are
	}
	secret, err := envOrFile(env, f.encryptEnv)
	if err != nil {
		return nil, err
	}
	if secret == "" {
		if variableName.MatchString(f.encryptEnv) {
			return nil, fmt.Errorf("--encrypt-env %s: that variable is not set, nor is %s_FILE", f.encryptEnv, f.encryptEnv)
		}
		return nil, errors.New("--encrypt-env names a variable that is not set, nor is the one with _FILE after its name")
	}
	return courier.NewCipher(secret)
}

// variableName is how variables are called by habit. What looks otherwise is not repeated to anyone: it may be the secret
// itself, given by mistake.
var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// envOrFile is the value of a variable, or what is in the file that the variable NAME_FILE names, without the space and newlines
// around it; empty when neither is set.
func envOrFile(env func(string) string, name string) (string, error) {
	if value := strings.TrimSpace(env(name)); value != "" {
		return value, nil
	}
	path := strings.TrimSpace(env(name + "_FILE"))
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path) //nolint:gosec // the person who starts the program chooses the file
	if err != nil {
		return "", fmt.Errorf("read the file of a variable ending in _FILE: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxEnvFile+1))
	if err != nil {
		return "", fmt.Errorf("read the file of a variable ending in _FILE: %w", err)
	}
	value := strings.TrimSpace(string(text))
	if value == "" || len(text) > maxEnvFile {
		return "", fmt.Errorf("read %s, which a variable ending in _FILE names: it is empty or above %d bytes", path, maxEnvFile)
	}
	return value, nil
}

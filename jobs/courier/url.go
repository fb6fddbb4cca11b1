package courier

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// AddressForms lists the URLs that Connect takes, one a line.
const AddressForms = `redis://[USER:PASSWORD@]HOST[:PORT][/DB]
unix://[USER:PASSWORD@]/PATH/OF/SOCKET[?db=DB]
redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/MASTER[/DB][?sentinel_username=USER&sentinel_password=PASSWORD]
redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]
and with TLS rediss://, rediss+sentinel://, rediss+cluster://`

// What an address leads to.
const (
	single   = "single"
	sentinel = "sentinel"
	cluster  = "cluster"
)

// location is what an address says.
type location struct {
	kind           string // single, sentinel or cluster
	network        string // of a single server: tcp or unix
	tls            bool
	hosts          []string // HOST:PORT each, or the path of a socket
	user, password string
	db             int

	master                         string // as Sentinels call it
	sentinelUser, sentinelPassword string
}

var schemes = map[string]location{
	"redis":           {kind: single, network: "tcp"},
	"rediss":          {kind: single, network: "tcp", tls: true},
	"unix":            {kind: single, network: "unix"},
	"redis+sentinel":  {kind: sentinel},
	"rediss+sentinel": {kind: sentinel, tls: true},
	"redis+cluster":   {kind: cluster},
	"rediss+cluster":  {kind: cluster, tls: true},
}

// parameters finds where those of a URL begin. A question mark before anything else is part of a password.
var parameters = regexp.MustCompile(`\?(db|sentinel_username|sentinel_password)=`)

// errEncoding is the answer to a bad percent sign.
var errEncoding = errors.New("a % must begin a percent-encoded character: write % itself as %25")

// parseURL reads an address. net/url can't: it takes one host, and its errors show the URL with the password in it. Here
// no error shows any of it, because where the password ends may be what is wrong.
func parseURL(text string) (location, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	to, known := schemes[scheme]
	if !known {
		return location{}, addressError(errors.New("it does not begin with a scheme that is known"))
	}
	query := ""
	if at := parameters.FindStringIndex(rest); at != nil {
		rest, query = rest[:at[0]], rest[at[0]+1:]
	}
	// The last one: a password that was not encoded may have others.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if err := to.setUser(rest[:at]); err != nil {
			return location{}, addressError(err)
		}
		rest = rest[at+1:]
	}
	if err := to.setPlace(rest); err != nil {
		return location{}, addressError(err)
	}
	if err := to.setParameters(query); err != nil {
		return location{}, addressError(err)
	}
	return to, nil
}

func addressError(err error) error {
	return fmt.Errorf("address of Redis: %w; it may be one of\n%s", err, AddressForms)
}

func (l *location) setUser(text string) error {
	user, password, found := strings.Cut(text, ":")
	if !found {
		return errors.New("before the @ belong user, colon and password; the user may be missing, as in redis://:PASSWORD@HOST")
	}
	if password == "" {
		return errors.New("the password before the @ is empty; was a variable not set?")
	}
	if err := decode(&l.user, user); err != nil {
		return err
	}
	return decode(&l.password, password)
}

// setPlace reads hosts and path.
func (l *location) setPlace(text string) error {
	if l.network == "unix" {
		if !strings.HasPrefix(text, "/") {
			return errors.New("the path of a socket begins with a slash")
		}
		l.hosts = make([]string, 1)
		return decode(&l.hosts[0], text)
	}
	hosts, path, _ := strings.Cut(text, "/")
	port := "6379"
	if l.kind == sentinel {
		port = "26379"
	}
	for i, host := range strings.Split(hosts, ",") {
		address, err := hostPort(host, port)
		if err != nil {
			return fmt.Errorf("host %d: %w", i+1, err)
		}
		l.hosts = append(l.hosts, address)
	}
	if l.kind == single && len(l.hosts) > 1 {
		return errors.New("several hosts need redis+sentinel:// or redis+cluster://")
	}
	return l.setPath(strings.TrimSuffix(path, "/"))
}

// setPath reads what comes after the hosts.
func (l *location) setPath(path string) error {
	db := path
	switch l.kind {
	case cluster:
		if path != "" {
			return errors.New("a cluster has no numbered databases: nothing may come after the hosts")
		}
	case sentinel:
		var master string
		master, db, _ = strings.Cut(path, "/")
		if master == "" {
			return errors.New("after the hosts comes the name by which Sentinel knows the master, as in …:26379/mymaster")
		}
		if err := decode(&l.master, master); err != nil {
			return err
		}
	}
	return l.setDB(db)
}

func (l *location) setDB(text string) error {
	if text == "" {
		return nil
	}
	db, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("a database is a number, as 0")
	}
	l.db = int(db)
	return nil
}

func (l *location) setParameters(query string) error {
	if query == "" {
		return nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		var err error
		switch {
		case name == "db" && l.network == "unix":
			err = l.setDB(value)
		case name == "sentinel_username" && l.kind == sentinel:
			err = decode(&l.sentinelUser, value)
		case name == "sentinel_password" && l.kind == sentinel:
			err = decode(&l.sentinelPassword, value)
		default:
			err = errors.New("after ? only db (of unix://) and sentinel_username and sentinel_password (of redis+sentinel://) may stand")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hostPort is a host with a port: its own, or the one given.
func hostPort(text, defaultPort string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port, err = net.SplitHostPort(text + ":" + defaultPort)
	}
	if err != nil || strings.ContainsAny(host, "?#@%& ") {
		return "", errors.New("write HOST or HOST:PORT, and an IPv6 address in brackets")
	}
	if host == "" {
		return "", errors.New("it has no name")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("a port is a number from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// decode undoes percent-encoding.
func decode(into *string, text string) error {
	decoded, err := url.PathUnescape(text)
	if err != nil {
		return errEncoding
	}
	*into = decoded
	return nil
}

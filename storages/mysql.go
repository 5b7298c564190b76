package storages

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/zaridb/zari/config"
	"github.com/zaridb/zari/config/mycnf"
	"github.com/zaridb/zari/config/zconfig"
	"github.com/zaridb/zari/engine/sqlstorage/mysql"
)

// sockets are where MySQL and MariaDB have theirs, as their client libraries were
// built by the distributions.
var sockets = []string{"/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

// mysqlOptions returns how to connect. What c does not say its option file does.
func mysqlOptions(c *config.MySQL, replicas *replicas) (mysql.Options, error) {
	full, err := withOptionFile(*c)
	if err != nil {
		return mysql.Options{}, err
	}
	opts := mysql.Options{
		User: full.User, Password: full.Password, Database: full.Database, ConnectTimeout: full.ConnectTimeout,
		TLS: mysql.TLS{Mode: mysql.TLSMode(full.SSLMode), CA: full.SSLCA, Cert: full.SSLCert, Key: full.SSLKey},
	}
	switch {
	case replicas == nil:
		opts.Addresses = mysqlAddresses(full)
	case full.Socket != "":
		return opts, errBothSockets
	default:
		opts.Replicas = func() []string { return withPort(replicas.servers(), defaultPort(full)) }
	}
	return opts, nil
}

func defaultPort(c config.MySQL) string { return strconv.Itoa(cmp.Or(c.Port, 3306)) }

// withPort gives a port to servers that have none.
func withPort(servers []string, port string) []string {
	list := slices.Clone(servers)
	for i, s := range list {
		if _, _, err := net.SplitHostPort(s); err != nil {
			list[i] = net.JoinHostPort(s, port)
		}
	}
	return list
}

// mysqlAddresses returns the servers to try. On this machine, where nothing is said
// of a port, that is a socket, as MySQL's client library has it.
func mysqlAddresses(c config.MySQL) []string {
	local := c.Host == "" || c.Host == "localhost"
	switch {
	case c.Socket != "" && local:
		return []string{c.Socket}
	case local && c.Port == 0:
		for _, s := range sockets {
			if info, err := os.Stat(s); err == nil && info.Mode()&os.ModeSocket != 0 {
				return []string{s}
			}
		}
	}
	return []string{net.JoinHostPort(cmp.Or(c.Host, "127.0.0.1"), defaultPort(c))}
}

// withOptionFile fills in what the option file says, and c does not.
func withOptionFile(c config.MySQL) (config.MySQL, error) {
	if c.OptionFile == "" {
		return c, nil
	}
	groups := []string{"client"}
	if c.OptionGroup != "" {
		groups = append(groups, c.OptionGroup)
	}
	file, err := mycnf.Load(c.OptionFile, groups...)
	if err != nil {
		return c, fmt.Errorf("read_default_file: %w", err)
	}
	for name, value := range map[string]*string{
		"host": &c.Host, "socket": &c.Socket, "user": &c.User, "password": &c.Password, "database": &c.Database,
		"ssl-ca": &c.SSLCA, "ssl-cert": &c.SSLCert, "ssl-key": &c.SSLKey,
	} {
		*value = cmp.Or(*value, file[name])
	}
	if port := file["port"]; port != "" && c.Port == 0 {
		n, err := zconfig.Integer(port)
		if err != nil || n < 0 || n > 65535 {
			return c, fmt.Errorf("%s: the port %q is not a number from 0 to 65535", c.OptionFile, port)
		}
		c.Port = int(n)
	}
	// What is merely preferred need not be.
	if mode := file["ssl-mode"]; mode != "" && !strings.EqualFold(mode, "preferred") && c.SSLMode == "" {
		c.SSLMode, err = config.MySQLSSLMode(mode)
	}
	return c, err
}

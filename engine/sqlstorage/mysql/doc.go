// Package mysql is the dialect of MySQL and MariaDB for engine/sqlstorage. (draft)
package mysql

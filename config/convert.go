package config

import "github.com/zaridb/zari/config/zconfig"

// LoadConvert reads the file at path in the form of RelStorage's zodbconvert: two
// storages, named source and destination.
func LoadConvert(path string, env func(string) (string, bool)) (source, destination Storage, notes []Note, err error) {
	c, err := LoadStorages(path, env)
	if err != nil {
		return nil, nil, nil, err
	}
	pair := make(map[string]Storage)
	var errs Errors
	for _, s := range c.Storages {
		pair[s.StorageName()] = s
		if n := s.StorageName(); n != "source" && n != "destination" {
			errs = append(errs, zconfig.Errorf(s.Position(), "a storage is named %q: there are only source and destination in such a file", n))
		}
	}
	for _, name := range []string{"source", "destination"} {
		if pair[name] == nil {
			e := zconfig.Errorf(zconfig.Pos{File: path}, "there is no storage named %s", name)
			e.Hint = "write <filestorage " + name + ">"
			errs = append(errs, e)
		}
	}
	if len(errs) > 0 {
		return nil, nil, nil, errs
	}
	return pair["source"], pair["destination"], c.Notes, nil
}

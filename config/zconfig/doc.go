// Package zconfig reads files in the syntax of ZConfig, the format of zeo.conf
// and zope.conf. It knows the syntax and the data types; which sections and keys
// there may be, and what they mean, its callers know.
//
// # The model
//
// A file is read line by line, each stripped of the white space around it:
//
//	# a comment, only where it begins the line
//	%define dir /var/db          a name for use below
//	%include common.conf         another file, as if its lines stood here
//	%import ZEO                  a Python package with more section types
//	key value up to the end of the line, $dir and $(HOME) replaced
//	<type name>
//	  key value
//	</type>
//	<type name/>                 an empty section
//
// The result is a tree of [Section] values, the outermost one having no type, in
// which every section and key keeps its [Pos]. Section types, section names and
// the names of %define are folded to lower case, keys are not (for most sections
// a schema asks for it: [Key.Lower]). A type, a name or a key holds no white space
// and no parentheses. A name stands once in a section, whatever the types.
//
// # Replacement
//
// In values and in the arguments of directives, $name and ${name} stand for what
// %define gave, $(NAME) for an environment variable, and $$ for a dollar. What
// has been put in is not looked at again. There are no defaults: a name that is
// not defined is an error. Section headers and keys are taken as they are.
//
// In one thing we take more than ZConfig: ${NAME} that is not defined stands for
// the environment variable of just that name, as people expect who know shells.
// [Document.Environ] lists them.
//
// # Bounds
//
// Files are foreign: their size and number, the depth of includes and of
// sections, and the length of a value are bounded, and a file that includes
// itself is refused.
//
// The sources of these rules are cfgparser.py, substitution.py, loader.py,
// matcher.py and datatypes.py in the Python package ZConfig, version 4.3.
package zconfig

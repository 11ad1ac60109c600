// Package manifest feeds the graph from files: a directory of Kubernetes
// manifests becomes the same rows that an API server would have sent.
//
//	files ─▶ documents ─▶ objects ─▶ claims ─▶ Batch ─▶ tables
//	        split, hash   strict     who may
//	        (only changed  decoding,  define
//	        ones go on)   validation  what
//
// It promises:
//   - An object that the API server would refuse reaches no table. Fields
//     are checked by name and type, objects of the Gateway API also against
//     their CRDs with defaults and CEL rules.
//   - Every [Problem] names file, line, object and field.
//   - One bad object, document or file takes nothing else with it, and what
//     was served goes on being served until its file parses again.
//   - An object that is defined twice is served as it was seen first.
//   - An edit costs what it touches: unchanged documents are not decoded
//     again.
//
// It does not check what one object says about another, which needs the
// tables, and it writes nothing: the files are the user's.
package manifest

package standalone_test

func removeBinary() {}

module davy

go 1.26.0

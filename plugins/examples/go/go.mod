module cities

go 1.24
